"""Figures for papers, drawn from the same arrays as the screen: sizes in millimetres, text that stays text, cells as
pixels where the rest is vectors, and inside each file where it came from.

command    the command line's words -> a file        charts     genes, losses, match: arrays -> figure and numbers
options    which words there are                     keys       legends and scales
of_result  a result in a file -> arrays              marks      cells, streamlines, ribbons on axes
drawings   embedding, times, lineage: arrays ->      page       who takes which room, in millimetres
           figure and numbers                        paper      the sheet: size and type; the file

Only words stand here, since the command line's help has to come at once.
"""

KINDS = ("embedding", "times", "lineage", "genes", "losses", "match")
CELLS, STREAMS, GROWTH, ARROWS = LAYERS = ("cells", "streams", "growth", "arrows")
LEGENDS = ("right", "below", "none")
WIDTHS = {"single": 88.0, "one-and-a-half": 120.0, "double": 180.0}
"""Millimetres of the columns that journals ask for."""
SUFFIXES = (".png", ".pdf", ".svg")
