"""Animations for talks and papers, drawn like the figures: cells that flow, and an embedding that organises itself.

command   the command line's words -> a file           canvas    the still part of a picture, and what moves over it
options   which words there are                        strip     the time, or the steps, below the picture
film      size, length and frames                      particles dots and trails of what flows
flow      a result -> a film of its flow               writing   a film -> mp4, webm or gif, by ffmpeg
tints     what colours the particles have             training  a run's folder -> a film of its training

Only words stand here, since the command line's help has to come at once.
"""

KINDS = ("flow", "training")
SUFFIXES = (".mp4", ".webm", ".gif")
SIZES = {"1080p": (1920, 1080), "720p": (1280, 720)}
"""Pixels, width and height."""
GROUNDS = {"white": "#ffffff", "dark": "#14181d"}
REPEAT, BACK, ONCE = LOOPS = ("repeat", "back", "once")
TIME, START, END, CELLS, PLAIN = PARTICLES = ("time", "start", "end", "cells", "plain")
"""What particles take their colour from: the moment, the labels they start or end with, the cells around, nothing."""
