local kernel = require "../../etc/passwd"
