"""The table of every metric, defined once. (Being written.)"""
