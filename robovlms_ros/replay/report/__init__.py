"""A replay to look at: one HTML file that needs no network. `page.write_report` makes it."""
