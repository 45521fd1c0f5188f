"""How plants write recordings down, and how they are read: files in any dialect -> ticks -> series of machines.

    files, encodings, dialect, workbooks -> tables, cells -> roles -> ticks (wide), long, tags, quality -> series
    ragged: lines with too few or too many fields     emptied, intervals: what cannot be used, in a sentence
    timestamps, zones: times of any kind -> UTC       survey, stretches: findings that a person should know of

`models/data.py` is their face: it shows the order of the steps, and commands read files through it.
"""
