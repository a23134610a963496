local kernel = require "parts.hen"
