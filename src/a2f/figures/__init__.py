"""The figures of the paper, drawn anew from data and weights: SVG and PDF, fit for print."""
