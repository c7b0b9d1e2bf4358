/* One shape for what is shown, whether the token is the operator's (the site and all apps) or an app's (itself). */

export const SITE = "_site";
/** Apps with a colour of their own; the others are shown together. */
const MOST_COLOURED = 6;

/** `GET /v1/admin/site` or `GET /v1/energy`. */
export function viewOf(snapshot, operator) {
  const apps = operator ? snapshot.apps : [snapshot];
  return {
    operator,
    name: operator ? snapshot.site : snapshot.app,
    zone: snapshot.timezone ?? "UTC",
    tick: snapshot.tick,
    now_s: snapshot.now_s,
    tick_s: snapshot.tick_s,
    compression: snapshot.compression,
    wall_s: Date.parse(snapshot.wall_time) / 1000,
    site: operator ? snapshot : null,
    apps,
    sources: operator ? snapshot.sources : snapshot.stale,
    last_dt_s: Math.max(snapshot.tick_s, ...apps.map((app) => app.last_dt_s)),
    intensity: operator ? snapshot.carbon_intensity_g_per_kwh : snapshot.grid.carbon_intensity_g_per_kwh,
  };
}

/** How apps are gathered into coloured groups: those with the most energy by themselves, the rest together, `_site` last. */
export function groupsOf(apps) {
  const site = apps.filter((app) => app.app === SITE).map((app) => app.app);
  const others = apps.filter((app) => app.app !== SITE);
  const bySize = [...others].sort((a, b) => b.totals.load_wh - a.totals.load_wh || (a.app < b.app ? -1 : 1));
  const own = new Set((others.length <= MOST_COLOURED + 1 ? others : bySize.slice(0, MOST_COLOURED)).map((app) => app.app));
  const groups = others.filter((app) => own.has(app.app)).map((app, k) => ({ label: app.app, colour: k, apps: [app.app] }));
  const rest = others.filter((app) => !own.has(app.app)).map((app) => app.app);
  if (rest.length) groups.push({ label: `${rest.length} others`, colour: "others", apps: rest });
  if (site.length) groups.push({ label: SITE, colour: "site", apps: site });
  return groups;
}

/** Sum of a value over apps. */
export const sumOf = (apps, value) => apps.reduce((total, app) => total + value(app), 0);

/** Sum of what may be unknown: null if any is. */
export function knownSum(apps, value) {
  return apps.some((app) => value(app) === null) ? null : sumOf(apps, value);
}
