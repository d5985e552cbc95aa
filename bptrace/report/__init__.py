"""The page: what is shown, in which order and form. Nothing here knows a file format."""
