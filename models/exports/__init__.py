"""How plants write recordings down, and how they are read: files in any dialect -> ticks -> series of machines.

    files, dialect, workbooks -> tables, cells -> roles -> ticks (wide), long, tags, quality -> selection, series
    timestamps, zones: times of any kind -> UTC       findings, survey: what a person should know of a recording

`models/data.py` is their face: it shows the order of the steps, and commands read files through it.
"""
