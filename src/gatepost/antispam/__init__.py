"""Anti-spam: what a message says, how it is built and what that is worth. Facts and their weight, no decision.

Content checks run in the filter over a `view.MailView`; network checks run in the relay. `policy` makes a status of it.
"""
