module dunlin/guests

go 1.21
