"""Ask a server that speaks the OpenAI protocol."""
