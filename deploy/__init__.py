"""Where nodes run and what their links are."""
