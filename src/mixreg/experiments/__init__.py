"""Whole experiments, one file each: compare, evaluate, diagnose, and every figure of the paper."""
