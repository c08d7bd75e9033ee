"""One invoice's way, from a settled file to processed/ or failed/."""
