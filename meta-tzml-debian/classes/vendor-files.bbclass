# Files that only a vendor or a project's own site has: the user puts them into a folder and names that in a variable.
# Without one the build makes what it can, and ends with the list of what is missing.
#
#   VENDOR_FILES                the files' names, as upstream calls them
#   VENDOR_FILES_VARIABLE       the variable in the caller's environment with the folder
#   VENDOR_FILES_DIR            the folder, or nothing
#   VENDOR_FILE_FOR[<name>]     what cannot be made without it, and what it is
#   VENDOR_FILE_FROM[<name>]    where upstream publishes it
#   VENDOR_FILE_GIT[<name>]     its object id in upstream's git repository, if it has one: the only digest it has

# Taken once, before recipes are parsed: what is new or has changed in the folder makes them be parsed again.
VENDOR_FILES_FOUND := "${@tzmldebian.vendorfiles.digests(d)}"

python tzml_list_missing() {
    if not e.getFailures():
        tzmldebian.vendorfiles.warn(d)
}
addhandler tzml_list_missing
tzml_list_missing[eventmask] = "bb.event.BuildCompleted"
