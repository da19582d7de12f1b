"""Words in pictures: the optional extra `ocr`, which needs the library tesserocr and language data of Tesseract."""
