from .classifier_agreement import classified as classified
from .format import DECIDING_SHARE as DECIDING_SHARE
from .format import number as number
from .format import too_few_images as too_few_images
from .html import page_environment as page_environment
from .page import write_report as write_report
