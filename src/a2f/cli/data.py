"""``a2f data``: the group of what prepares and fetches images."""

import click

from a2f.cli.data_download import download
from a2f.cli.data_prepare import prepare

EPILOG = """\b
Examples:
  Cut photographs into sub-images and make LR images, to train on:
    a2f data prepare photos/ train/ --lr 2,3,4
  Download benchmark sets:
    a2f data download set5 set14 -o sets/
  List all sets with sources, sizes and terms:
    a2f data download --list
"""


@click.group(epilog=EPILOG)
def data() -> None:
    """Prepare folders of images for training, and download data sets."""


data.add_command(prepare)
data.add_command(download)
