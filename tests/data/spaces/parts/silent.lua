local kernel = {}
