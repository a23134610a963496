local list = {}
for i = 1, 100000 do
   list[i] = -i
end
while true do
   table.sort(list)
end
