local kernel = require "parts.fault"
