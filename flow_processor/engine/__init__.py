"""What hands runs to workers, and what runs inside a worker."""
