"""What a file may say: frozen pydantic models that refuse unknown keys."""
