"""Your own Python in the data folder."""
