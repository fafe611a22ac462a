"""From pictures to poses: two ways with one signature, :class:`TopDown` and :class:`BottomUp`."""
