"""The figures of the paper, drawn from data and weights as SVG and PDF for print."""
