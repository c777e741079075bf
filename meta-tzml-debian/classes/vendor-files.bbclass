# Files that only a vendor or a project's own site has. The user puts them into a folder and names it in a variable.
# If files are missing, the build makes what it can and ends with the list of missing files.
#
#   VENDOR_FILES                the files' names, as upstream calls them
#   VENDOR_FILES_VARIABLE       the variable in the caller's environment with the folder
#   VENDOR_FILES_DIR            the folder, or nothing
#   VENDOR_FILE_FOR[<name>]     what it is, and what cannot be made without it
#   VENDOR_FILE_FROM[<name>]    where upstream publishes it
#   VENDOR_FILE_GIT[<name>]     its object id in upstream's git repository, if any: its only digest

# Computed once, before recipes are parsed: new or changed files in the folder cause recipes to be parsed again.
VENDOR_FILES_FOUND := "${@tzmldebian.vendorfiles.digests(d)}"

python tzml_list_missing() {
    if not e.getFailures():
        tzmldebian.vendorfiles.warn(d)
}
addhandler tzml_list_missing
tzml_list_missing[eventmask] = "bb.event.BuildCompleted"
