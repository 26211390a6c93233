"""Maps onto quantization sets that have no end."""
