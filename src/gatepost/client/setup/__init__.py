"""Set-up of other mail systems for filtering, and its undoing: `gatepost client setup`, `undo`, `status`."""
