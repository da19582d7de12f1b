"""Anti-virus: engines, unpacking, and the stage that walks a message and reports the status of every object.

Runs in the filter process. Reports facts (`model.finding.Analysis`); what is done about them is policy's business.
"""
