"""What is stored, brought from one version of the program to another, and taken over from other installations.

`stamp` says which format a state directory has, `parts` what there is of each format and what leads from one to the
next, `plan` what is to be done, `carrying` does it; `settling` is all of it at a start. `takeover` and the modules
beside it bring in the configuration and the mail of another installation. Used by the master and `gatepost migrate`.
"""
