"""From a picture and boxes to poses."""
