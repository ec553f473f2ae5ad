"""The paper's tables, and a held-out time point, made anew by one command: ``cellstream benchmark NAME``.

cases      the data, by name, from a file, or simulated       holdout   a time point left out, predicted
methods    CellStream and the baselines as one kind of thing  records   one JSON file and model per fit: work goes on
sources    a word for the code that decides a fit             fits       what each table is made of
measures   a result -> numbers                                report, figure   .csv, .md, .png and .svg
plans      their layout; paper, its own numbers          speed      how long things take, a table of its own kind
"""

NAMES = ("table1", "table2", "fates", "table3", "table4", "table5", "dimensions", "holdout", "speed")
