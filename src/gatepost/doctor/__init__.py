"""What can be wrong with a gateway and its host, found and told with how to mend it."""
