"""The licence: until keys are built, only the day it ends."""
