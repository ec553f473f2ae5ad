"""Figures for papers, drawn from the same arrays as the screen: sizes in millimetres, text that stays text, cells as
pixels where the rest is vectors, and inside each file where it came from.

command    the command line's words -> a file        charts     genes, losses, match, metrics: arrays ->
options    which words there are                                figure and numbers
of_result  a result -> arrays                        keys       legends and scales
drawings   embedding, times, lineage: arrays ->      marks      cells, streamlines, ribbons on axes
           figure and numbers                        page       who takes which room, in millimetres
                                                     paper      the sheet: size and type; the file

Only words stand here, since the command line's help has to come at once.
"""

KINDS = ("embedding", "times", "lineage", "genes", "losses", "match", "metrics")
CELLS, STREAMS, GROWTH, ARROWS = LAYERS = ("cells", "streams", "growth", "arrows")
LEGENDS = ("right", "below", "none")
WIDTHS = {"single": 88.0, "one-and-a-half": 120.0, "double": 180.0}
"""Millimetres of the columns that journals ask for."""
SUFFIXES = (".png", ".pdf", ".svg")
