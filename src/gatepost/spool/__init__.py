"""Layer 4: the spool. Mail exists from the moment a commit returns until every recipient has a final status."""
