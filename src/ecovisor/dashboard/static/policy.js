/* Lets the chart library live with a content security policy that forbids inline styles. Runs before it.

   Style attributes that it writes as text go through the object model instead, which the policy allows. Style sheets that it
   wants to add are for its maps, which this page does not have; those of its charts are in style.css. */
"use strict";
{
  const setAttribute = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
  const head = document.head;
  head.appendChild = (child) => (child instanceof HTMLStyleElement ? child : Node.prototype.appendChild.call(head, child));
}
