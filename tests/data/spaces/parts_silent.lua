local kernel = require "parts.silent"
