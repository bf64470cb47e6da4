"""The model kind `openai`: questions for servers that speak the OpenAI protocol."""
