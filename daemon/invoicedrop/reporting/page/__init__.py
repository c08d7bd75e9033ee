"""The status page of an inbox, for whoever sees nothing but the folder: what needs a person, what waits, what went."""
