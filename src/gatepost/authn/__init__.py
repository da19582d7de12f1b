"""Mail authentication: SPF, DKIM, DMARC and ARC as plain functions; questions to the DNS go out, answers come in."""
