-- line 1
os.execute("touch /tmp/triage-was-here")
