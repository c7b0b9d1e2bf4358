"""The second computation: a reference model, an emulated plant and a replay that share no code with ecovisor."""
