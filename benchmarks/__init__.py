"""How fast dfml is, measured side by side with plain code in one run; see RESULTS.md."""
