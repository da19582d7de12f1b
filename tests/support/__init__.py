"""What several kinds of tests share: a real gateway as a context, a scripted downstream server, plain SMTP clients."""
