"""How fast dfml is, measured side by side with plain code, see RESULTS.md; and whether its results stay the same."""
