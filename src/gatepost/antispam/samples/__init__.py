"""Sample messages: texts that come again, edited a little (F-AS-15, F-AS-16)."""
