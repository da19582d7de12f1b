"""The filters: isolated processes that read hostile bytes, and the pool through which a relay uses them.

`settings` (what both sides are told), `dialogue` (frames and checks), `plan` and `pool` (relay side), `template`,
`sandbox` and `worker` (filter side). docs/filter.md tells the whole story.
"""
