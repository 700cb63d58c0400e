"""Attribution: which statement, of which person, made a committed change; and which change has none."""
